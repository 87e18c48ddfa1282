"""The one exception of the stack."""


class StackError(Exception):
    """Why the stack cannot do what was asked: one line that a user can act on."""
