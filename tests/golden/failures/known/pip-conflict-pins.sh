# label: version-conflict
printf 'beta==2.0\nalpha==1.0\n' > r.txt
#---
pip install --target out -r r.txt --index-url $REGISTRY/simple
