from .approaches import Approach, Clearance, Crossed, approach
from .center_lines import VesselDiameters, vessel_diameters
from .cuts import Cut, Ellipsoid, Plane
from .distance_maps import Band, DistanceMap, contour_lines, distance_map, mapped, write_distance_map
from .distances import Contact, Diameters, Distance, contact, diameters, distance
from .encasements import Encasement, encasement
from .evaluation import EvaluatedPlan, evaluate_plan, write_evaluated
from .free_surfaces import FreeSurface
from .margins import Inside, Margin, margin
from .plan_file import Plan, cut_of, digest_of, parse_plan, read_plan, write_plan
from .resections import Organ, Part, Resection, is_part, joined
from .shapes import line_of, shape_of
from .territories import Territories
from .texts import lines, segment_title
from .thicknesses import Thickness, thickness

__all__ = [
    "Approach",
    "Band",
    "Clearance",
    "Contact",
    "Crossed",
    "Cut",
    "Diameters",
    "Distance",
    "DistanceMap",
    "Ellipsoid",
    "Encasement",
    "EvaluatedPlan",
    "FreeSurface",
    "Inside",
    "Margin",
    "Organ",
    "Part",
    "Plan",
    "Plane",
    "Resection",
    "Territories",
    "Thickness",
    "VesselDiameters",
    "approach",
    "contact",
    "contour_lines",
    "cut_of",
    "diameters",
    "digest_of",
    "distance",
    "distance_map",
    "encasement",
    "evaluate_plan",
    "is_part",
    "joined",
    "line_of",
    "lines",
    "mapped",
    "margin",
    "parse_plan",
    "read_plan",
    "segment_title",
    "shape_of",
    "thickness",
    "vessel_diameters",
    "write_distance_map",
    "write_evaluated",
    "write_plan",
]
