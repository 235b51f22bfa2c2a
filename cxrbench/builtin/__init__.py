"""The plugins that come with cxrbench, registered as any other plugin is."""
