# label: network|timeout
#---
python -c "import socket, time; s = socket.create_server(('127.0.0.1', 8917)); time.sleep(5)" &
sleep 1
curl -fsS --max-time 1 http://127.0.0.1:8917/
