# label: abstain
printf 'echo "comparing 120 products"\necho "the result differs from what finance expects"\nexit 4\n' > compare.sh
#---
bash compare.sh
