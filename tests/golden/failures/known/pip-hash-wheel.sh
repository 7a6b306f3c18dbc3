# label: hash-mismatch
printf 'gamma==1.0 --hash=sha256:%064d\nbeta==2.0 --hash=sha256:%064d\n' 3 4 > lock.txt
#---
pip download -r lock.txt --index-url $REGISTRY/simple
