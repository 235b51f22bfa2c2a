"""Files, documents, figures and progress: everything that writes, for any domain."""
