# label: name-resolution
#---
python -c "import requests; requests.get('https://api.shop.invalid/v1')"
