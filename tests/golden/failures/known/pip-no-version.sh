# label: no-matching-version
#---
pip install --index-url $REGISTRY/simple beta==9.9
