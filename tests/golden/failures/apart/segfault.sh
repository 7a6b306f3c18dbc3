# label: crash
#---
python -c "import ctypes; ctypes.string_at(0)"
