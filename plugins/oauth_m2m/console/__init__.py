"""The console: what an operator sees and clicks, at ``/console``.

``page`` is what every page is made from, ``access`` who may see it, ``entrance`` how they log in; then one
module for each page. Pages are rendered here from ``templates/`` and work without JavaScript; what is in
``static/`` makes them nicer. Handlers hold no business rules: they use the services, as the JSON handlers do.
"""
