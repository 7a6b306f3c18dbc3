# label: server-error
#---
pip install --retries 1 --index-url $REGISTRY/status/503 beta
