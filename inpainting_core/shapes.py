"""Shape annotations: jaxtyping's where it is installed (tests, checkers), inert in a user's ComfyUI."""

try:
    from jaxtyping import Bool, Float, Int
except ModuleNotFoundError:

    class _Unchecked:
        """Stands for any annotation, so that ``Float[Tensor, "b 3 h w"]`` still reads as documentation."""

        def __class_getitem__(cls, item):
            return cls

    Bool = Float = Int = _Unchecked

__all__ = ["Bool", "Float", "Int"]
