"""Networks to and from other libraries: what they hold, read and written without a rounded bit.

Reading needs no other library: an object is read by what it has (`weight`, `bias`, `layers`), its
activations by their values. Writing imports the library that it writes for.
"""

from .layers import Layers, from_arrays
from .onnx_graph import write_onnx
from .reading import read_modules, read_tree
from .recognise import recognise

__all__ = ["Layers", "from_arrays", "read_modules", "read_tree", "recognise", "write_onnx"]
