"""The documentation as a site: ``python -m docs.site``, which is ``make docs``.

The pages of ``docs/`` are written for whoever reads them in the repository. For the site they are laid out
in a temporary directory (`staging`), with pages for the files that they link to (`sources`) and a reference
made from the code (`reference`); Zensical makes HTML of that, and `links` checks the result::

    docs/*.md, pictures ──┐
    linked files ─────────┼──► a directory ──► Zensical ──► site/ ──► every link is followed
    hooks, CLI, OpenAPI ──┘

So no step depends on plugins of the generator. ``zensical.toml`` beside this file holds the navigation: a
page that is not in it fails the build, like a warning or a broken link.
"""
