"""Your own images: folders, COCO and npz files, read, named, fitted and checked."""
