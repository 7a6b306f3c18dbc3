# label: syntax-error
printf 'def f(:\n    pass\n' > app.py
#---
python app.py
