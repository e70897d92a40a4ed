"""The study's pages and routes, all under /study: an application of its own beside the demo."""
