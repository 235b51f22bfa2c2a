"""Reading MedMNIST's .npz files without unpacking them."""
