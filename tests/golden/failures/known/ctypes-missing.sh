# label: library-missing|uncaught-exception
#---
python -c "import ctypes; ctypes.CDLL('libtaxes.so.3')"
