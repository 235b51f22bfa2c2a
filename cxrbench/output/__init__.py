"""Files, documents, figures and progress; nothing in here is specific to radiographs."""
