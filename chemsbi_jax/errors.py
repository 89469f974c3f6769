"""The error that every complaint about a user's input derives from."""


class InputError(ValueError):
    """Input that can't be used; says what was expected, what came and what to do.

    Scripts print it and end with exit code 2. A `ValueError` of another kind is a fault
    of the program and shows its traceback.
    """
