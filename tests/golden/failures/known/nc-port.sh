# label: port-in-use
#---
python -c "import socketserver,os; socketserver.TCPServer(('127.0.0.1', int(os.environ['PORT'])), None)"
