# label: certificate
#---
pip install --retries 0 --index-url $TLS/simple beta
