# label: python-version|no-matching-version
#---
pip install --index-url $REGISTRY/simple --target out omega==3.0
