# label: abstain
#---
echo "comparing manifests"
false
