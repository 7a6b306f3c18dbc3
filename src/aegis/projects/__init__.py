"""What a repository is: build system, layout, framework, tests; how to adopt it."""
