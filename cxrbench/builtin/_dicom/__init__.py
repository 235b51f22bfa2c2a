"""What the dataset ``dicom`` is made of: key, files, headers, labels, pixels."""
