"""Files, documents, figures and progress: it knows nothing about radiographs."""
