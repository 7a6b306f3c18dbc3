# label: connection-refused|test-failed
printf 'import socket\n\ndef test_api():\n    socket.create_connection(("127.0.0.1", 9))\n' > test_api.py
#---
python -m pytest -q test_api.py
