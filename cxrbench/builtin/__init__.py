"""The plugins that come with cxrbench, each registered exactly as a stranger's is."""
