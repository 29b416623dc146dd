package dataset

import "strings"

// totalSegmentator are the CT sets of TotalSegmentator 2.0.1. The MD5 sums are
// those that kaiko's eva (eva/vision/data/datasets) checks the files of the
// Zenodo records against.
func totalSegmentator() []Set {
	labels := numbered(strings.Fields(totalClasses))
	layout := Layout{
		Images: `(?P<id>s\d{4})/ct` + imageExt,
		Masks:  `(?P<id>s\d{4})/segmentations/(?P<class>[^/]+)` + imageExt,
	}
	base := Set{
		Modality: "CT", Labels: labels, Licence: "CC BY 4.0", Layout: layout,
		Cite: "Wasserthal et al., TotalSegmentator: Robust Segmentation of 104 Anatomic Structures in CT Images, Radiology: Artificial Intelligence 5(5) (2023), doi:10.1148/ryai.230024",
		Note: "one file per class is merged into one label map; choose classes with --labels",
	}
	small, full := base, base
	small.Name, small.Title, small.Cases = "totalsegmentator-small", "117 structures on CT, 102 of the cases (TotalSegmentator 2.0.1)", 102
	small.Home, small.Archive = "https://zenodo.org/records/10047263", "Totalsegmentator_dataset_small_v201.zip"
	small.About, small.MD5 = 3_245e6, "6b5524af4b15e6ba06ef2d700c0c73e0"
	full.Name, full.Title, full.Cases = "totalsegmentator", "117 structures on CT (TotalSegmentator 2.0.1)", 1228
	full.Home, full.Archive = "https://zenodo.org/records/10047292", "Totalsegmentator_dataset_v201.zip"
	full.About, full.MD5 = 23_600e6, "fe250e5718e0a3b5df4c4ea9d58a62fe"
	for _, s := range []*Set{&small, &full} {
		s.URL = s.Home + "/files/" + s.Archive
	}
	return []Set{small, full}
}

// totalClasses are the classes of TotalSegmentator's task "total" in the order
// of their values, from 1 (totalsegmentator/map_to_binary.py).
const totalClasses = `
spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left
lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right lung_lower_lobe_right
esophagus trachea thyroid_gland small_bowel duodenum colon urinary_bladder prostate kidney_cyst_left kidney_cyst_right
sacrum vertebrae_S1 vertebrae_L5 vertebrae_L4 vertebrae_L3 vertebrae_L2 vertebrae_L1
vertebrae_T12 vertebrae_T11 vertebrae_T10 vertebrae_T9 vertebrae_T8 vertebrae_T7 vertebrae_T6 vertebrae_T5 vertebrae_T4
vertebrae_T3 vertebrae_T2 vertebrae_T1 vertebrae_C7 vertebrae_C6 vertebrae_C5 vertebrae_C4 vertebrae_C3 vertebrae_C2 vertebrae_C1
heart aorta pulmonary_vein brachiocephalic_trunk subclavian_artery_right subclavian_artery_left
common_carotid_artery_right common_carotid_artery_left brachiocephalic_vein_left brachiocephalic_vein_right
atrial_appendage_left superior_vena_cava inferior_vena_cava portal_vein_and_splenic_vein
iliac_artery_left iliac_artery_right iliac_vena_left iliac_vena_right
humerus_left humerus_right scapula_left scapula_right clavicula_left clavicula_right femur_left femur_right hip_left hip_right
spinal_cord gluteus_maximus_left gluteus_maximus_right gluteus_medius_left gluteus_medius_right gluteus_minimus_left gluteus_minimus_right
autochthon_left autochthon_right iliopsoas_left iliopsoas_right brain skull
rib_left_1 rib_left_2 rib_left_3 rib_left_4 rib_left_5 rib_left_6 rib_left_7 rib_left_8 rib_left_9 rib_left_10 rib_left_11 rib_left_12
rib_right_1 rib_right_2 rib_right_3 rib_right_4 rib_right_5 rib_right_6 rib_right_7 rib_right_8 rib_right_9 rib_right_10 rib_right_11 rib_right_12
sternum costal_cartilages
`
