"""DLStudio's own network, loss formulas and loops, driven on NumPy arrays."""

import contextlib
import os
import sys
import warnings
from types import SimpleNamespace
from unittest import mock

import torch

from tests.goldens import recipe
from tests.parity.stand_ins import load_dlstudio

DLStudio = load_dlstudio()
SemanticSegmentation = DLStudio.SemanticSegmentation


def build(state, *, skip, depth, dtype):
    """Return DLStudio's mUnet holding ``state``, loaded strictly."""
    net = SemanticSegmentation.mUnet(skip_connections=skip, depth=depth).to(getattr(torch, dtype))
    net.load_state_dict({name: torch.tensor(value) for name, value in state.items()}, strict=True)
    return net


def nchw(array):
    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy())


def tensors(batch, net):
    """Return images and masks as NCHW tensors of the network's dtype."""
    dtype = next(net.parameters()).dtype
    return (nchw(array).to(dtype) for array in batch)


def nhwc(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


mse = torch.nn.MSELoss()  # what DLStudio trains with


def dice(output, target):
    """Compute the report's Dice: the batch flattened, squared denominator, 1e-6 below."""
    p, t = output.reshape(-1), target.reshape(-1)
    return 1 - 2 * (p * t).sum() / ((p * p).sum() + (t * t).sum() + 1e-6)


def combo(output, target, scale=recipe.DICE_SCALE):
    return mse(output, target) + scale * dice(output, target)


LOSSES = {"mse": mse, "dice": dice, "combo": combo}


def state_of(net):
    return {name: value.numpy().copy() for name, value in net.state_dict().items()}


def initial_state(*, skip, depth):
    """Return the state_dict that PyTorch draws for DLStudio's mUnet from seed 1234."""
    torch.manual_seed(1234)
    return state_of(SemanticSegmentation.mUnet(skip_connections=skip, depth=depth))


def forward(net, batch, *, train):
    """Return the outputs [B, H, W, C]; a training pass moves the running statistics."""
    net.train(train)
    images, _ = tensors(batch, net)
    with torch.no_grad():
        return nhwc(net(images))


def relu_out_of_place():
    """Give every relu's result its own memory while the context lasts; it computes the same.

    mUnet writes the saved channels into its input in place. Without skip connections that input is
    a relu's result, which its gradient reads, and PyTorch refuses the backward pass.
    """
    relu = torch.nn.functional.relu
    return mock.patch("torch.nn.functional.relu", lambda x, inplace=False: relu(x).clone())


def _backward(net, batch, loss):
    net.train()
    net.zero_grad()
    images, masks = tensors(batch, net)
    with relu_out_of_place():
        value = LOSSES[loss](net(images), masks)
        value.backward()
    return value.item()


def gradients(net, batch, *, loss):
    """Return the gradient of each parameter by name; None where the parameter never ran."""
    _backward(net, batch, loss)
    return {n: None if p.grad is None else p.grad.numpy() for n, p in net.named_parameters()}


def sgd_steps(net, batches, *, loss):
    """Take SGD-with-momentum steps, one a batch; return the losses before each."""
    rate = recipe.LEARNING_RATES[loss]
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=recipe.MOMENTUM)
    losses = []
    for batch in batches:
        losses.append(_backward(net, batch, loss))
        optimizer.step()
    return losses


def _segmenter(batches, folder, **settings):
    """Return DLStudio's object with what its loops read, the masks as bytes, without boxes."""
    studio = SimpleNamespace(
        batch_size=len(batches[0][0]),
        epochs=1,
        device=torch.device("cpu"),
        image_size=[64, 64],
        path_saved_model=os.fspath(folder / "saved_model"),
        **settings,
    )
    segmenter = SemanticSegmentation(studio, 5)
    segmenter.train_dataloader = segmenter.test_dataloader = [
        {
            "image": nchw(images).float(),
            "mask_tensor": nchw(masks),
            "bbox_tensor": torch.zeros(len(images), 5, 5, 4),
        }
        for images, masks in batches
    ]
    return segmenter


def run_training(net, batches, folder):
    """Drive DLStudio's training function for one epoch of ``batches``; return every loss.

    It writes ``saved_model`` and its numbers into ``folder``. The losses are read off each call of
    MSELoss, since DLStudio itself prints only the mean of 500.
    """
    rate = recipe.LEARNING_RATES["mse"]
    segmenter = _segmenter(batches, folder, learning_rate=rate, momentum=recipe.MOMENTUM)
    losses = []

    def note(module, _inputs, output):
        if isinstance(module, torch.nn.MSELoss):
            losses.append(output.item())

    # A handle of PyTorch is a context, too; the hook goes with it.
    hook = torch.nn.modules.module.register_module_forward_hook(note)
    with hook, contextlib.chdir(folder), relu_out_of_place(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its file of numbers open
        segmenter.run_code_for_training_for_semantic_segmentation(net)
    return losses


def run_testing(net, batches, folder):
    """Drive DLStudio's test pass; return the picture tensor of each batch that it shows.

    ``folder`` holds the saved_model. A picture has 7 * B images: the maximum over channels, the
    inputs, then a row for each class, 255 where a pixel is on and 50 where it is off.
    """
    segmenter = _segmenter(batches, folder, display_tensor_as_image=lambda _: None)
    its_utils = sys.modules[DLStudio.__module__].torchvision.utils
    with mock.patch.object(its_utils, "make_grid", create=True) as make_grid:
        segmenter.run_code_for_testing_semantic_segmentation(net)
    return [call.args[0].numpy() for call in make_grid.call_args_list]
