# label: encoding
printf 'caf\xe9\n' > names.txt
#---
python -c "print(open('names.txt', encoding='utf-8').read())"
