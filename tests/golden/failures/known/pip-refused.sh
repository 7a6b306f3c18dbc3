# label: connection-refused|network
#---
pip install --retries 1 --index-url http://127.0.0.1:9/simple beta
