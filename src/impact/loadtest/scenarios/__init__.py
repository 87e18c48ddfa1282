"""``impact loadtest``: the platform's load on a server that runs, judged by its targets."""
