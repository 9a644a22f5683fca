"""A page on this machine that shows a stage's requests: `make run` and `assistance console` serve it."""
