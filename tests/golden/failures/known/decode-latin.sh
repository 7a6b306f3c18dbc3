# label: encoding
printf 'naam;\xe9\xe8\n' > p.csv
#---
python -c "import csv; list(csv.reader(open('p.csv', encoding='utf-8')))"
