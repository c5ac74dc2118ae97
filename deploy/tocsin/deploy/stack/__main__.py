"""`python -m tocsin.deploy.stack`: the same as `tocsin stack`."""

from tocsin.deploy.stack.cli import stack

if __name__ == "__main__":
    stack(prog_name="tocsin stack")
