# label: version-conflict|no-matching-version
printf 'beta==2.0\nalpha==1.0\n' > r.txt
#---
uv pip install --target out -r r.txt --index-url $REGISTRY/simple
