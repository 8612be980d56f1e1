"""The pages that people look at, rendered on the server.

routes.py   what URL shows what
visit.py    one request for a page: who looks, and the frame around what they see
asked.py    what an address may ask for; what it asks for in vain is told
mistakes.py errors as pages, in the same frame
pages/      one module a page: reads stored profiles and measurements, returns plain data for a template
figures.py  charts as plain dictionaries in Plotly's language, drawn by static/app.js
theme.py    states, icons and the names of colours; the colours themselves stand in static/app.css
words.py    what metrics, families and states are called, and what to do about them
formats.py  numbers, times and spans as people read them
links.py    every URL of the dashboard, quoted
render.py   templates, JSON in pages, headers
assets.py   the static files, Plotly's own script among them, compressed once
"""
