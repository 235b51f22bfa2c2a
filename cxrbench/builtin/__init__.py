"""The plugins that come with cxrbench, registered in the same way as any other plugin."""
