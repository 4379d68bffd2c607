"""Small trained models for modelzoo: the folders of `bundles`, run by name as samples/NAME."""
