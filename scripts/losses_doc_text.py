"""What docs/losses.md says of each loss; `losses_doc.py` adds what it measures and draws."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """The words of one loss."""

    name: str
    title: str
    formula: str
    range: str
    use: str
    gradient: str


ENTRIES = (
    Entry(
        "mse",
        "Mean squared error (the report's)",
        "mean((p - t)^2), on raw mask values",
        "[0, inf)",
        "DLStudio's recipe; regression of mask values 50 to 250.",
        "Grows in proportion to the error, the same for every pixel.",
    ),
    Entry(
        "dice",
        "Dice on raw values (the report's)",
        "1 - 2 sum(p t) / (sum(p p) + sum(t t) + 1e-6), whole batch",
        "[0, 2]",
        "The report's second experiment. Scale matters little: it compares shapes.",
        "Small (about 1 / sum(t t) per unit) and none at all on an empty target.",
    ),
    Entry(
        "combo",
        "MSE + dice_scale Dice (the report's)",
        "mse + dice_scale * dice",
        "[0, inf)",
        "The report's third experiment, dice_scale 20 or 400.",
        "MSE's, with a pull towards overlap that fades where targets are empty.",
    ),
    Entry(
        "bce",
        "Binary cross-entropy",
        "-fn_weight t log p - fp_weight (1 - t) log(1 - p)",
        "[0, inf)",
        "The default for classes that may overlap; soft targets and label smoothing.",
        "p - t per logit: never fades while a pixel is wrong, bounded by 1.",
    ),
    Entry(
        "ce",
        "Cross-entropy",
        "-sum_c t_c log p_c",
        "[0, inf)",
        "The default for exclusive classes; soft targets and label smoothing.",
        "p - t per logit: never fades while a pixel is wrong, bounded by 1.",
    ),
    Entry(
        "focal",
        "Focal loss",
        "-(1 - p_t)^gamma log p_t",
        "[0, inf)",
        "Much easy background: easy pixels fade out of the sum.",
        "As cross-entropy on wrong pixels, (1 - p_t)^gamma of it on right ones.",
    ),
    Entry(
        "topk_bce",
        "TopK cross-entropy",
        "mean of the hardest fraction of the pixels' cross-entropies",
        "[0, inf)",
        "Small or hard objects; noisy labels make it worse.",
        "That of cross-entropy on the chosen pixels, 0 on all others.",
    ),
    Entry(
        "dice_prob",
        "Dice on probabilities",
        "1 - (2 I + s) / (P + T + s)",
        "[0, 1]",
        "Imbalance: each class weighs the same, whatever its size.",
        "Alike for all pixels of an object, times p (1 - p): it stalls on saturated logits.",
    ),
    Entry(
        "jaccard",
        "Jaccard (IoU)",
        "1 - (I + s) / (P + T - I + s)",
        "[0, 1]",
        "When IoU is the score; steeper than Dice near a perfect overlap.",
        "As Dice, less where overlap is poor, more where it is good.",
    ),
    Entry(
        "tversky",
        "Tversky",
        "1 - (I + s) / (I + fp_weight FP + fn_weight FN + s)",
        "[0, 1]",
        "Choosing between false alarms and misses.",
        "As Dice, with the two kinds of errors weighed.",
    ),
    Entry(
        "focal_tversky",
        "Focal Tversky",
        "(1 - TI)^exponent",
        "[0, 1]",
        "Small objects: an exponent below 1 keeps pushing on nearly right cells.",
        "Tversky's, times exponent (1 - TI)^(exponent - 1), kept finite at TI = 1.",
    ),
    Entry(
        "log_cosh_dice",
        "Log-cosh Dice",
        "log(cosh(Dice))",
        "[0, 0.434]",
        "Dice with a soft landing.",
        "Dice's times tanh(Dice): it fades as the overlap gets right.",
    ),
    Entry(
        "generalized_dice",
        "Generalized Dice",
        "1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + T_c) + s), w_c = 1 / T_c^2",
        "[0, 1]",
        "Strong imbalance between classes within an image.",
        "As Dice, most for the rarest class that is present.",
    ),
    Entry(
        "mcc",
        "Matthews correlation",
        "1 - (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))",
        "[0, 2]",
        "When background counts as well: symmetric between classes.",
        "As Dice, with a share for true negatives; also on empty targets.",
    ),
    Entry(
        "bce_dice",
        "Cross-entropy + Dice",
        "dice_weight Dice + ce_weight (BCE or CE)",
        "[0, inf)",
        "The robust default of nnU-Net and of Kaggle (BCE-Dice).",
        "Cross-entropy keeps pushing where Dice stalls.",
    ),
    Entry(
        "dice_focal",
        "Focal + Dice",
        "dice_weight Dice + focal_weight focal",
        "[0, inf)",
        "Imbalance with many easy pixels.",
        "Focal's on wrong pixels, Dice's on objects.",
    ),
    Entry(
        "exp_log",
        "Exponential logarithmic",
        "dice_weight mean((-log Dice_c)^gamma) + ce_weight mean((-log p_t)^gamma)",
        "[0, inf)",
        "Very small structures beside large ones.",
        "For gamma < 1 it grows towards a perfect prediction, where it is kept finite.",
    ),
    Entry(
        "unified_focal",
        "Unified focal",
        "focal_weight F + (1 - focal_weight) mean((1 - TI)^(1 - gamma)), as its docstring says",
        "[0, inf)",
        "Imbalance, with few settings that go together.",
        "Cross-entropy's on rare classes, faded on easy background.",
    ),
    Entry(
        "lovasz_hinge",
        "Lovasz hinge",
        "Lovasz extension of the Jaccard loss at errors max(0, 1 - x (2 t - 1))",
        "[0, inf)",
        "Fine-tuning for IoU, overlapping classes.",
        "Piecewise constant per logit: most for the worst pixel, none beyond the margin.",
    ),
    Entry(
        "lovasz_softmax",
        "Lovasz-softmax",
        "Lovasz extension of the Jaccard loss at errors |t - p|",
        "[0, 1]",
        "Fine-tuning for IoU, exclusive classes.",
        "Per probability by rank; times p (1 - p) per logit.",
    ),
    Entry(
        "boundary",
        "Boundary",
        "mean(phi p), phi the signed distance to the target's border",
        "[-D, D], D the image's diagonal",
        "With a region loss, a weight growing over the steps: dice_prob+linear(0,1,1000)*boundary.",
        "phi p (1 - p): by distance to the border, whatever the error.",
    ),
    Entry(
        "hausdorff",
        "Hausdorff by distance maps",
        "mean((p - t)^2 (d_p^a + d_t^a))",
        "[0, 2 D^a]",
        "When the farthest error counts.",
        "Large far from the border, tiny on it.",
    ),
    Entry(
        "cldice",
        "clDice",
        "1 - 2 Tprec Tsens / (Tprec + Tsens), on soft centre lines",
        "[0, 1]",
        "Vessels, roads: keeping thin things connected. In a sum with Dice.",
        "On centre lines alone.",
    ),
    Entry(
        "kaggle_focal",
        "Kaggle's focal loss",
        "alpha (1 - exp(-B))^gamma B, B the batch's mean cross-entropy",
        "[0, inf)",
        "To repeat results of the notebook.",
        "BCE's, scaled for the whole batch at once.",
    ),
    Entry(
        "kaggle_combo",
        "Kaggle's Combo",
        "0.5 mean(alpha (-t log p - (1 - alpha)(1 - t) log(1 - p))) - 0.5 Dice score",
        "[-0.5, inf)",
        "To repeat results of the notebook.",
        "As BCE + Dice.",
    ),
)
