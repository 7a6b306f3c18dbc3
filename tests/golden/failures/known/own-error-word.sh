# label: abstain
#---
echo "ERROR: the release notes do not mention ticket SHOP-812"; exit 1
