"""Pickles, .pth, .npy and .npz read by an allow-list: data of known kinds, nothing executed."""
