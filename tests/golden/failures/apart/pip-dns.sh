# label: name-resolution|network
#---
pip install --retries 0 --index-url https://packages.shop.invalid/simple beta
