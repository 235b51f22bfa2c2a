"""Reading any table of images, patients and labels."""
