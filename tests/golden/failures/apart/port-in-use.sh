# label: port-in-use
#---
python -m http.server --bind 127.0.0.1 $PORT
