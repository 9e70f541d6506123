"""Scenes: steps that random worlds seldom put into one moment. Each is what some defect of delivery needs to show.

A world of scenes is short and has little else in it, so that no later event heals what a defect has broken.
"""
