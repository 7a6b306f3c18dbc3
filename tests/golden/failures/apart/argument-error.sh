# label: usage
#---
python -m http.server --bindd 127.0.0.1
