"""The demo: pages, routes and what guards them. `site.build_site(analyzer, settings)` gives the whole application."""
